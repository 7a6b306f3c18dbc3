# label: disk-full
printf 'with open("/dev/full", "wb") as file:\n    file.write(b"x" * 100000)\n' > export.py
#---
python export.py
