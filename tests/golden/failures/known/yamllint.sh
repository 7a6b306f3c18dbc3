# label: yaml-syntax|lint
printf 'a: [1, 2\nb: 3\n' > c.yml
#---
yamllint c.yml
