#!/bin/bash
# A sweep on several machines of a Slurm cluster: sbatch --nodes=4 --gpus-per-node=8 examples/slurm.sh [options of pytest]
# Starts Ray on all of them, runs pytest on the first, and ends Ray with the job. Paths must be the same on each machine,
# or lie on a file system that all of them mount: the environment, models, GLU_PRUNE_DATA, and this folder.
#SBATCH --job-name=glu-prune
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

port=6379
cores=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}
mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${machines[0]}
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}'):$port

# A Ray of its own for each job: two jobs may share a machine.
export RAY_TMPDIR=${TMPDIR:-/tmp}/ray-$SLURM_JOB_ID
stop() {
  srun --ntasks-per-node=1 ray stop --force || true
}
trap stop EXIT

srun --nodes=1 --ntasks=1 -w "$head" \
  ray start --head --port=$port --num-cpus="$cores" --num-gpus="$gpus" --disable-usage-stats --block &
sleep 15
for machine in "${machines[@]:1}"; do
  srun --nodes=1 --ntasks=1 -w "$machine" \
    ray start --address="$address" --num-cpus="$cores" --num-gpus="$gpus" --disable-usage-stats --block &
done
sleep 15

# Slurm ends the job two minutes before its time is up: what is finished is in the store, and the same command goes on.
pytest benchmarks --glu-executor ray --glu-ray-address "$address" "$@"
