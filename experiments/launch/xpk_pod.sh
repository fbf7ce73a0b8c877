#!/bin/bash
# One avatar on a slice of TPUs on GKE, by xpk: a process a host, the bits of one process.
#   CLUSTER=NAME IMAGE=REGISTRY/zero1a_jax:tpu bash experiments/launch/xpk_pod.sh v5litepod-16 \
#     --flagfile=pod.flags --image=/data/portrait.png --workdir=/data/avatar
# NOT RUN YET on a cluster; a test runs it against a program that stands for xpk. The image is made with
# experiments/launch/Dockerfile and DEVICE=tpu. The folders must be there on all hosts: give their volume to xpk.
# The same command again goes on from the newest checkpoint. Several slices were not thought of.
set -eu
kind=$1
shift
command="python -m experiments.run --process=auto$(printf ' %q' "$@")"
xpk workload create --cluster="$CLUSTER" --workload="${NAME:-zero1a-pod}" --tpu-type="$kind" --num-slices=1 \
  --docker-image="$IMAGE" --command="$command"
