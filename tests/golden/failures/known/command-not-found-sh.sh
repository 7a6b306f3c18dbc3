# label: command-missing
printf '#!/bin/sh\njqq . data.json\n' > run.sh; chmod +x run.sh
#---
./run.sh
