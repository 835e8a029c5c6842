#!/bin/bash
# Runs in namespaces of its own: makes the whole machine read-only but for the folders that are
# named, and then the guest. The guest's kernel is a process of root, so this and not its good
# manners protects the host: a second mount of the host's tree inside cannot write either.
#   boot.sh FOLDER BYTES_OF_RAM WRITABLE... -- COMMAND...
set -eu
folder=$1 ram=$2
shift 2
writable=("$folder")
while [ "$1" != -- ]; do writable+=("$1") && shift; done
shift
for one in "${writable[@]}"; do mount --bind "$one" "$one"; done
mount -t tmpfs -o size="$ram" tmpfs "$folder/ram" # the guest's RAM is a file
writable+=("$folder/ram")
mapfile -t mounts </proc/self/mountinfo # first: the list changes under our hands
for mount in "${mounts[@]}"; do
    read -r _ _ _ _ point _ <<<"$mount"
    point=$(printf '%b' "$point")
    for one in "${writable[@]}"; do [ "$point" = "$one" ] && continue 2; done
    mount -o remount,bind,ro "$point" 2>/dev/null && continue
    case $point in /proc* | /sys* | /dev*) continue ;; esac
    [ ! -w "$point" ] || { echo "cannot make $point read-only" >&2 && exit 1; }
done
export TMPDIR=$folder/ram HOME=$folder
# Not exec: as PID 1 of its namespace the guest's kernel could not abort() after a panic, and hang.
"$@" &
wait $!
