# label: disk-full
mkdir s; head -c 300000 /dev/urandom > big
#---
unshare -m sh -c 'mount -t tmpfs -o size=100k none s && tar cf s/a.tar big'
