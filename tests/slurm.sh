#!/usr/bin/env bash
# A reduced grid (2 arms x 2 seeds, few steps) on a real SLURM: one machine as the cluster, on loopback, with one job
# killed midway; then the same grid without SLURM. The classifiers of both must be equal, byte by byte.
#
#     .venv/bin/uv sync --frozen --group slurm && sudo tests/slurm.sh
#
# Needs root, for apt-get (Debian's packages, where they are missing) and for SLURM's daemons. All else is in a scratch
# folder that goes when it ends; KEEP=1 keeps it.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() { echo "$@" >&2; exit 1; }
[[ $EUID == 0 ]] || stop "$0 installs and starts SLURM, which needs root: sudo $0"
.venv/bin/python -c "import snakemake_executor_plugin_slurm" || stop "first: .venv/bin/uv sync --frozen --group slurm"
if ! type slurmctld slurmd sbatch munged > /dev/null 2>&1; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge
fi

conf=/etc/slurm/slurm.conf  # the executor's job steps look nowhere else: they drop SLURM_CONF from the environment
[[ ! -e $conf ]] || stop "this machine has a SLURM, see $conf; use it: make paper PROFILE=profiles/slurm"
scratch=$(mktemp -d)
finish() {
  rm -f "$conf"
  for pid in "$scratch"/*.pid; do [[ ! -e $pid ]] || kill "$(< "$pid")" || true; done
  [[ ${KEEP:-} ]] && echo "kept $scratch" || rm -rf "$scratch"
}
trap finish EXIT

mkdir "$scratch/state" "$scratch/spool" "$scratch/grid"
(umask 077; head -c 1024 /dev/urandom > "$scratch/key")
host=$(hostname -s)
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 CI=1
cat > "$conf" << END
ClusterName=scratch
SlurmctldHost=$host(127.0.0.1)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
AuthInfo=socket=$scratch/munge.socket
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.pid
SlurmctldLogFile=$scratch/slurmctld.log
SlurmdLogFile=$scratch/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MinJobAge=600
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc)
PartitionName=all Nodes=$host Default=YES State=UP
END
munged --force --key-file="$scratch/key" --socket="$scratch/munge.socket" --pid-file="$scratch/munged.pid" \
  --log-file="$scratch/munged.log" --seed-file="$scratch/munge.seed"
slurmctld
slurmd
timeout 60 bash -c 'until sinfo --noheader --states=idle | grep -q .; do sleep 1; done' ||
  stop "$(cat "$scratch"/slurm*.log)"
sinfo

cat > "$scratch/grid/grid.yaml" << END
datasets: [fashion-mnist]
fractions: [0.01]
classifiers: [resnet8-half]
END
cat > "$scratch/grid/tuned-resnet8-half.yaml" << END
Std Aug: {steps: 200}
SEGA-Net: {steps: 200}
END
cat > "$scratch/grid/params.yaml" << END
03_projector: {STEPS: 5, N_EVAL: 100}
04_synthesis: {OVERSAMPLE: 8}
05_training: {ARMS: [Std Aug, SEGA-Net], SEEDS: [0, 1]}
END
trained='paper-0.01@resnet8-half/fashion-mnist'
grid() {
  SEGA_RESULTS=$scratch/$1 .venv/bin/python -m snakemake --snakefile paper.smk \
    --workflow-profile profiles/paper "${@:2}" \
    --config grid="$scratch/grid/grid.yaml" params="$scratch/grid/params.yaml" \
    --default-resources mem_mb=0 runtime=30 -- "$scratch/$1/$trained/notebooks/05_training.ipynb"
}

echo "== on SLURM, one job killed"
grid slurm --profile profiles/slurm --slurm-logdir "$scratch/logs" > "$scratch/grid.log" 2>&1 &
until compgen -G "$scratch/slurm/$trained/notebooks/training/*.failed.ipynb" > /dev/null; do
  kill -0 $! || stop "$(< "$scratch/grid.log")"
  sleep 1
done
victim=$(squeue --noheader --states=running --format="%A %k" | awk '/cell/ {print $1; exit}')
scancel "$victim"
wait $! || stop "$(< "$scratch/grid.log")"
cat "$scratch/grid.log"
squeue --states=all --sort=i --format="%.6A %.10T %.8M  %k"
[[ $(squeue --noheader --states=cancelled --format=%A) == "$victim" ]]

echo "== without SLURM"
grid local --cores all
diff --recursive --brief --exclude=.complete "$scratch"/{slurm,local}/"$trained"/classifiers
echo "the same $(find "$scratch/slurm/$trained/classifiers" -name '*.safetensors' | wc -l) classifiers, byte by byte"
