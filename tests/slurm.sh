#!/usr/bin/env bash
# A reduced grid (2 arms x 2 seeds, few steps) on this machine, then through a real SLURM, whose only node is this
# machine, on loopback, with one training killed midway. All records and classifiers of both must be equal.
#
#     sudo tests/slurm.sh        # after make install; some minutes
#
# Needs root: for apt-get, where Debian's slurm-wlm is missing, and for SLURM's daemons. The locked executor is put into
# a scratch folder, not into .venv. All of it goes when the script ends; KEEP=1 keeps the folder. The stages before the
# trainings are run once and copied; WHOLE=1 sends them through SLURM as well.
set -euo pipefail
cd "$(dirname "$0")/.."
conf=/etc/slurm/slurm.conf  # the executor's job steps look nowhere else: they drop SLURM_CONF from the environment

say() { echo "[$(date +%T)] $*"; }
stop() { say "$@" >&2; exit 1; }
[[ $EUID == 0 ]] || stop "$0 installs and starts SLURM, which needs root: sudo $0"
[[ -x .venv/bin/uv ]] || stop "there is no .venv; first: make install"
[[ ! -e $conf ]] || stop "this machine has a SLURM, see $conf; use it: make paper PROFILE=profiles/slurm"
if ! type slurmctld slurmd sbatch munged > /dev/null 2>&1; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
fi

scratch=$(mktemp -d)
finish() {
  local file pid
  kill $(jobs -p) 2> /dev/null && wait || true
  if [[ -e $scratch/slurmctld.pid ]]; then
    timeout 60 bash -c 'scancel --user=root; until [[ ! $(squeue --noheader) ]]; do sleep 1; done' || true
  fi
  for file in "$scratch"/{slurmd,slurmctld,munged}.pid; do
    pid=$(cat "$file" 2> /dev/null) || continue
    kill "$pid" && while kill -0 "$pid" 2> /dev/null; do sleep 0.2; done
  done
  rm -f "$conf" "${conf%/*}/gres.conf"
  [[ ${KEEP:-} ]] && say "kept $scratch" || rm -rf "$scratch"
}
trap finish EXIT

.venv/bin/uv export --quiet --frozen --only-group slurm --no-emit-project --output-file "$scratch/plugin.txt"
.venv/bin/uv pip install --quiet --python .venv/bin/python --target "$scratch/plugin" --no-deps -r "$scratch/plugin.txt"
export PYTHONPATH=$scratch/plugin OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 CI=1
mkdir "$scratch/state" "$scratch/spool" "$scratch/grid"
(umask 077; head -c 1024 /dev/urandom > "$scratch/key")
host=$(hostname -s)
mkdir -p "${conf%/*}"
# The node claims two GPUs and the memory that profiles/paper asks for, so that the jobs are those of a real cluster.
echo "Name=gpu File=/dev/null,/dev/zero" > "${conf%/*}/gres.conf"
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
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MinJobAge=3600
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=16000 Gres=gpu:2
PartitionName=all Nodes=$host Default=YES State=UP
END

# Every stage up to the trainings, at a tiny scale and on the CPU, which alone gives the same bytes twice.
trained='paper-0.01@resnet8-half/fashion-mnist'
cat > "$scratch/grid/grid.yaml" << END
datasets: [fashion-mnist]
fractions: [0.01]
classifiers: [resnet8-half]
END
cat > "$scratch/grid/classifiers.yaml" << END
arms: {Std Aug: {}, SEGA-Net: {labels: clip}}
classifiers: {resnet8-half: {steps: 200}}
END
cat > "$scratch/grid/params.yaml" << END
DEVICE: cpu
02_generator: {N_EVAL: 100}
03_projector: {STEPS: 5, N_EVAL: 100}
04_synthesis: {OVERSAMPLE: 8}
05_training: {ARMS: [Std Aug, SEGA-Net], SEEDS: [0, 1]}
END
grid() {
  SEGA_RESULTS=$scratch/$1 .venv/bin/python -m snakemake --snakefile paper.smk --workflow-profile profiles/paper \
    "${@:2}" --config grid="$scratch/grid/grid.yaml" params="$scratch/grid/params.yaml" \
    -- "$scratch/$1/$trained/notebooks/05_training.ipynb"
}

say "starting SLURM"
munged --force --key-file="$scratch/key" --socket="$scratch/munge.socket" --pid-file="$scratch/munged.pid" \
  --log-file="$scratch/munged.log" --seed-file="$scratch/munge.seed"
slurmctld
slurmd
timeout 60 bash -c 'until sinfo --noheader --states=idle | grep -q .; do sleep 1; done' ||
  stop "$(cat "$scratch"/slurm*.log)"
sinfo --version
sinfo --Node --format="%N %t %c CPUs %G"

say "the grid without SLURM"
grid local --cores all > "$scratch/local.log" 2>&1 || stop "$(< "$scratch/local.log")"
tail -n 3 "$scratch/local.log"

mkdir "$scratch/slurm"
[[ ${WHOLE:-} ]] || cp -a "$scratch/local/paper-0.01" "$scratch/slurm"
say "the grid through SLURM"
grid slurm --profile profiles/slurm --slurm-logdir "$scratch/logs" --slurm-status-command squeue \
  --slurm-init-seconds-before-status-checks 5 > "$scratch/slurm.log" 2>&1 &
until begun=$(compgen -G "$scratch/slurm/$trained/notebooks/training/*.failed.ipynb" | head -n 1) && [[ $begun ]]; do
  kill -0 $! || stop "$(< "$scratch/slurm.log")"
  sleep 1
done
cell=$(basename "$begun" .failed.ipynb)
victim=$(squeue --noheader --states=running --format="%A %k" | awk -v cell="$cell" 'index($0, cell) {print $1}')
scancel "$victim"
say "killed job $victim, which was training $cell"
wait $! || stop "$(< "$scratch/slurm.log")"
cat "$scratch/slurm.log"
scontrol show job "$victim" | grep -E "JobId|JobState|Comment|Time=|TresPerJob"
squeue --states=all --sort=i --format="%.6i %.10T %.8M  %k"
[[ $(squeue --noheader --states=cancelled --format=%A) == "$victim" ]] || stop "another job than $victim was cancelled"

say "comparing"
SEGA_RESULTS=$scratch .venv/bin/python - "$scratch/local" "$scratch/slurm" << 'END'
import sys
from pathlib import Path
from sega_utils.core import artifacts, records
def contents(root):
    found = {f.relative_to(root): records.comparable(artifacts.load_json(f)) for f in root.glob("*/*/records/*/*.json")}
    return found | {f.relative_to(root): artifacts.sha256(f) for f in root.glob("*/*/classifiers/*.safetensors")}
local, slurm = (contents(Path(root)) for root in sys.argv[1:])
different = sorted(str(f) for f in local.keys() | slurm.keys() if local.get(f) != slurm.get(f))
assert len([f for f in local if f.suffix == ".safetensors"]) == 4, sorted(local)
print(f"{len(local)} records and classifiers without SLURM, {len(slurm)} with it; different:", *different or ["none"])
sys.exit(bool(different))
END
