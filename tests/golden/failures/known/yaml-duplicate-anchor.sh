# label: yaml-syntax
printf 'a: *missing\n' > v.yaml
#---
python -c "import yaml,sys; yaml.safe_load(open('v.yaml'))"
