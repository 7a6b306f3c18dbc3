# label: abstain
printf 'import sys\nsys.exit(3)\n' > check.py
#---
echo "checking the catalogue"
python check.py
