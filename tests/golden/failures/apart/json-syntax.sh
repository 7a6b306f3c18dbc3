# label: json-syntax|syntax-error
printf '{"a": 1,}\n' > data.json
#---
python -m json.tool data.json
