# label: out-of-memory|killed
printf '#!/bin/bash\nkill -9 $$\n' > train.sh
#---
bash train.sh
