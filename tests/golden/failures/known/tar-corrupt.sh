# label: archive-damaged
printf 'not an archive' > a.tar.gz
#---
tar xzf a.tar.gz
