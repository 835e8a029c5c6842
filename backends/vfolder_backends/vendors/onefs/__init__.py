"""Dell PowerScale (Isilon) OneFS, by its platform API and SmartQuotas."""
