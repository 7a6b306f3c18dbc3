# label: line-endings
printf '#!/usr/bin/env python3\r\nprint(1)\r\n' > b.py; chmod +x b.py
#---
./b.py
