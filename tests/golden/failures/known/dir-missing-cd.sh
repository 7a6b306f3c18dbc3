# label: file-missing
#---
cd frontend
