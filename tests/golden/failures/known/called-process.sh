# label: uncaught-exception|command-failed|abstain
#---
python -c "import subprocess; subprocess.run(['false'], check=True)"
