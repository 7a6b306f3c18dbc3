# label: git-missing
#---
git -C /tmp status
