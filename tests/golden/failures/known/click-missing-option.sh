# label: module-missing
#---
python -m flask_like_missing run
