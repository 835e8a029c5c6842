"""The operator: watches our objects, decides, and asks the backends."""
