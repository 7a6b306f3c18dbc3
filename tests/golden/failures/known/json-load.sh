# label: json-syntax
printf '{"a": tru}' > a.json
#---
python -c "import json; json.load(open('a.json'))"
