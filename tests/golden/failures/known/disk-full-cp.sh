# label: disk-full
mkdir small; unshare -m true
#---
unshare -m sh -c 'mount -t tmpfs -o size=64k none small && dd if=/dev/zero of=small/image bs=1M count=5'
