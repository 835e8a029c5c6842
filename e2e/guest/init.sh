#!/bin/bash
# PID 1 of a guest. First it builds the root: the host's tree, read-only, below an overlay in RAM;
# then, from inside it, it mounts what the guest needs, runs the command and powers off.
# Beside it lie, written by the host: vars (bash arrays), command (a script), and our answers.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
C=${0%/*}
. "$C/vars" # before anything is mounted over /tmp: our own folder may lie below it

halt() {
    # The host takes the number only once it is complete.
    if [ -n "${1:-}" ]; then echo "$1" >"$C/status.new" && mv "$C/status.new" "$C/status"; fi
    sync
    perl -e 'syscall(169, 0xfee1dead, 0x28121969, 0x4321fedc, 0)' # reboot(2), power off; x86-64
    sleep 5
    exit 1
}
fail() {
    echo "guest: $*" >/dev/console
    halt
}

if [ "${1:-}" != inside ]; then
    # This kernel "reboots" by starting itself again: the command must never run twice.
    [ -e "$C/booted" ] && halt
    mount -t proc proc /proc || fail "mount proc"
    version=$(uname -r)
    # /tmp is a folder on every host, and what is mounted on it here hides nothing in the overlay,
    # whose lower layer is the host's tree without our mounts.
    mount -t tmpfs -o mode=0755,size=90% tmpfs /tmp || fail "mount tmpfs"
    mkdir -p /tmp/{up,work,root,modules/lib/modules}
    ln -s "/usr/lib/uml/modules/$version" "/tmp/modules/lib/modules/$version"
    modprobe -d /tmp/modules overlay || fail "module overlay"
    options=lowerdir=/,upperdir=/tmp/up,workdir=/tmp/work,xino=off,metacopy=off
    mount -t overlay -o "$options" overlay /tmp/root || fail "mount overlay"
    root=/tmp/root
    mkdir -p $root/{proc,sys,dev,run,.old}
    for window in "$C" "${WINDOWS[@]}"; do
        mkdir -p "$root$window"
        mount -t hostfs -o "$window" none "$root$window" || fail "mount hostfs $window"
    done
    : >"$root$C/booted"
    sync
    cd $root && pivot_root . .old || fail pivot_root
    exec chroot . /bin/bash "$0" inside </dev/null
fi

umount -l /.old/proc
mount -t proc proc /proc || fail "mount proc"
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
[ -e /dev/ptmx ] || ln -s pts/ptmx /dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -sfn /proc/self/fd /dev/fd
for number in 0:stdin 1:stdout 2:stderr; do
    ln -sfn "/proc/self/fd/${number%:*}" "/dev/${number#*:}"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
ln -sfn /proc/self/mounts /etc/mtab
umount -l /.old && rmdir /.old
mount --make-rshared / # as on a node
mkdir -p /lib/modules
[ -e "/lib/modules/$(uname -r)" ] || ln -s "/usr/lib/uml/modules/$(uname -r)" /lib/modules/
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname guest
ip link set lo up
for module in fuse loop quota_v2 "${MODULES[@]}"; do
    modprobe "$module" || fail "module $module"
done
[ -e /dev/fuse ] || mknod /dev/fuse c 10 229
for disk in "${DISKS[@]}"; do
    read -r kind options device point <<<"$disk"
    mkdir -p "$point"
    mount -t "$kind" -o "$options" "$device" "$point" || fail "mount $point"
done

# Standard output and standard error are two consoles; raw, so that bytes pass unchanged.
stty -F /dev/tty1 raw -echo -opost
stty -F /dev/tty2 raw -echo -opost
exec 3>/dev/tty1 4>/dev/tty2
: >"$C/started"
drop=()
if [ -n "$NO_SYS_RESOURCE" ]; then
    drop=(setpriv --bounding-set -sys_resource --inh-caps -sys_resource)
fi
"${drop[@]}" setsid /bin/bash "$C/command" </dev/null >&3 2>&4 3>&- 4>&-
status=$?
# What the consoles still hold must be out before the power goes.
perl -MPOSIX -e 'POSIX::tcdrain($_) for 3, 4' 3>&3 4>&4
exec 3>&- 4>&-
# What the command left running must not keep the disks busy.
kill -TERM -1
sleep 0.1
kill -KILL -1
[ -e /proc/fs/nfsd/threads ] && echo 0 >/proc/fs/nfsd/threads
for disk in "${DISKS[@]}"; do umount "${disk##* }"; done 2>/dev/null
for window in "${WINDOWS[@]}"; do umount "$window"; done 2>/dev/null
halt $status
