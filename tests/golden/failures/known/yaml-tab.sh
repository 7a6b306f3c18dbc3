# label: yaml-syntax|syntax-error
printf 'a:\n\tb: 1\n' > c.yml
#---
python -c "import yaml; yaml.safe_load(open('c.yml'))"
