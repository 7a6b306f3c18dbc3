# label: read-only|permission
mkdir ro
#---
unshare -m sh -c 'mount -t tmpfs -o ro none ro && python -c "open(\"ro/report.csv\", \"w\")"'
