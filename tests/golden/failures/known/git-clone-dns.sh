# label: name-resolution|network
#---
git clone https://git.shop.invalid/shop/orders.git
