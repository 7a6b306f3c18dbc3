# label: yaml-syntax|syntax-error
printf 'services:\n  orders:\n    image: x\n   ports: [80]\n' > compose.yaml
#---
python -c "import yaml; yaml.safe_load(open('compose.yaml'))"
