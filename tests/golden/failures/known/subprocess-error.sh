# label: command-missing|file-missing
#---
python -c "import subprocess; subprocess.run(['helmfile', 'sync'], check=True)"
