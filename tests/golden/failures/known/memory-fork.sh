# label: out-of-memory|process-limit
#---
bash -c 'ulimit -v 40000; python -c "import array; array.array(chr(100), [0.0])*10**9"'
