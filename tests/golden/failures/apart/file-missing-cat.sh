# label: file-missing
#---
cat config/production.yaml
