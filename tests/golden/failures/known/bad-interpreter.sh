# label: command-missing|file-missing
printf '#!/opt/python2/bin/python\n' > t.py; chmod +x t.py
#---
./t.py
