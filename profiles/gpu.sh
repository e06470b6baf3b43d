# Gives the shell that sources this one of the visible GPUs that no other such shell has, until all that it started
# ends. Where there is none, or a scheduler has handed out a single one, nothing changes.
visible=${CUDA_VISIBLE_DEVICES-$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null || true)}
for gpu in ${visible//,/ }; do
  exec {claim}>"${TMPDIR:-/tmp}/sega-net-$UID-gpu-$gpu"
  if flock --nonblock "$claim"; then
    export CUDA_VISIBLE_DEVICES=$gpu
    break
  fi
done
