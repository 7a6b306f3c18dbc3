# label: file-missing
printf 'import json\nwith open("data/catalogue.json") as file:\n    print(json.load(file))\n' > load.py
#---
python load.py
