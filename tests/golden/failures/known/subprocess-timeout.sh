# label: timeout
#---
python -c "import subprocess; subprocess.run(['sleep','9'], timeout=0.2)"
