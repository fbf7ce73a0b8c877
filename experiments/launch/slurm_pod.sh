#!/bin/bash
# One avatar on several nodes of a SLURM cluster: a process a node, the bits of one process.
#   sbatch --nodes=2 experiments/launch/slurm_pod.sh --flagfile=zero1a_512.flags --image=FILE --workdir=FOLDER
# 75: a process was lost; 143: it was stopped in time. In both cases the run goes on from its checkpoint.
#SBATCH --job-name=zero1a_pod
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -u
srun --kill-on-bad-exit=0 python -m experiments.run --process=auto "$@"
code=$?
if [ $code = 75 ] || [ $code = 143 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $code
