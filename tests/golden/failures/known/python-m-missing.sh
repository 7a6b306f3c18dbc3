# label: module-missing
#---
python -m shopctl migrate
