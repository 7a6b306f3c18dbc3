# label: yaml-syntax
printf 'name: "orders\nport: 80\n' > v.yaml
#---
python -c "import yaml,sys; yaml.safe_load(open('v.yaml'))"
