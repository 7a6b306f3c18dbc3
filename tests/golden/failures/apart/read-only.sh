# label: read-only|permission
#---
unshare -m sh -c 'mount -t tmpfs -o ro none /mnt && touch /mnt/report.txt'
