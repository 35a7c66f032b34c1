"""Convert the Northwind SQL script into the demo company's own form.

    python tools/northwind.py northwind.sql > replica/demo/northwind.json

Companies, products, prices and stock are kept; people are left out. Money becomes integer
ten-thousandths and quantities become thousandths, as in every payload.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

CUSTOMERS = """
    SELECT CustomerID, CompanyName, Address, City, Region, PostalCode, Country, Phone
    FROM Customers WHERE City IS NOT NULL ORDER BY CustomerID
"""
PRODUCTS = """
    SELECT p.ProductID, p.ProductName, c.CategoryName, p.QuantityPerUnit, p.UnitPrice,
           p.UnitsInStock
    FROM Products p JOIN Categories c USING (CategoryID)
    WHERE p.Discontinued = '0' OR p.Discontinued = 0 ORDER BY p.ProductID
"""


def company(script: str) -> dict[str, Any]:
    """The customers and products of the script, in the order of their keys."""
    database = sqlite3.connect(":memory:")
    database.executescript(script)
    customers = [
        {
            "id": f"c-{key.lower()}",
            "name": name,
            "phone": phone or "",
            "address": {
                "line1": street or "",
                "city": city or "",
                "region": region or "",
                "postal_code": postal_code or "",
                "country": country or "",
            },
        }
        for key, name, street, city, region, postal_code, country, phone in database.execute(
            CUSTOMERS
        )
    ]
    products = [
        {
            "id": f"p-{key}",
            "sku": f"NW-{key:03d}",
            "name": name,
            "category": category,
            "unit": unit,
            "price_e4": int(Decimal(str(price)) * 10_000),
            "stock_e3": int(stock) * 1_000,
        }
        for key, name, category, unit, price, stock in database.execute(PRODUCTS)
    ]
    database.close()
    return {"name": "Northwind Traders", "customers": customers, "products": products}


if __name__ == "__main__":
    result = company(Path(sys.argv[1]).read_text(encoding="utf-8"))
    json.dump(result, sys.stdout, ensure_ascii=False, indent=1, sort_keys=True)
    sys.stdout.write("\n")
