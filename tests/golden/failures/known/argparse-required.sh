# label: usage
printf 'import argparse\np=argparse.ArgumentParser()\np.add_argument("--region", required=True)\np.parse_args()\n' > deploy.py
#---
python deploy.py
