# label: too-many-files
#---
bash -c 'ulimit -n 20; python -c "f=[open(chr(47)+chr(100)+chr(101)+chr(118)+chr(47)+\"null\") for _ in range(50)]"'
