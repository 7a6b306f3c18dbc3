# label: archive-damaged
printf 'no' > a.zip
#---
python -m zipfile -e a.zip out
