"""The page `soil_scan.html`: the model as data and JavaScript in one file that works offline."""
