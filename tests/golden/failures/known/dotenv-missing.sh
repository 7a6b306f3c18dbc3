# label: file-missing
#---
source .env.production
