# label: out-of-memory
#---
ulimit -v 600000; python -c "x = bytearray(10**10)"
