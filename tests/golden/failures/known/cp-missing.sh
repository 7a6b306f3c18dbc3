# label: file-missing
#---
cp dist/app.tar.gz /tmp/
