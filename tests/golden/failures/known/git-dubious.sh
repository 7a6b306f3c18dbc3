# label: git-ownership|permission
git init -q r; chown -R 65534:65534 r
#---
git -C r status
