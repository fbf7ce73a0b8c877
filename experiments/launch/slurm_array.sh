#!/bin/bash
# Thousands of portraits on a SLURM cluster: each task of the array makes every N-th avatar, whole, on one device.
#   sbatch --array=0-63 experiments/launch/slurm_array.sh portraits.txt avatars [more flags of a run]
# The same command again does what is missing. The table: python -m experiments.run --mode=summary with the
# same --portraits and --workdir.
#SBATCH --job-name=zero1a_many
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -u
portraits=$1 workdir=$2
shift 2
python -m experiments.run --portraits="$portraits" --workdir="$workdir" "$@" &
run=$!
# bash passes no signal on by itself, and ends its wait when one comes.
trap 'kill -TERM $run' TERM
wait $run
code=$?
while kill -0 $run 2>/dev/null; do wait $run; code=$?; done
# Stopped before it was done: once more, in a place of its own in the queue.
if [ $code = 143 ]; then scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"; fi
exit $code
