# label: command-missing|file-missing
printf '#!/usr/bin/env python3.4\n' > run.py; chmod +x run.py
#---
./run.py
