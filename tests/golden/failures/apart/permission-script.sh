# label: permission
printf '#!/bin/sh\necho hi\n' > deploy.sh; chmod 644 deploy.sh
#---
./deploy.sh
