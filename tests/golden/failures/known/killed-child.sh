# label: out-of-memory
#---
bash -c 'python -c "import os; os.kill(os.getpid(), 9)"; exit $?'
