"""Which properties exist, of what type: the data that request checking and queries run on.

The names follow the schema files that Intuit publishes with its software development kits under
the Apache License 2.0 (QuickBooks-V3-PHP-SDK, ``src/XSD``); the notation is this module's own.

One property per word: ``Name:type``. A type is a scalar (``text100`` bounds the length), a struct
of this table, ``[type]`` for a list, ``ref>Customer`` for a reference to an object that must
exist. ``!`` after it marks what only the server writes: clients may send it, it is ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCALARS = frozenset({"text", "email", "number", "int", "bool", "date", "time", "enum", "any"})


@dataclass(frozen=True, slots=True)
class Property:
    """``type`` is a scalar, ``ref`` or a struct name; ``arg`` its bound, target or enum."""

    name: str
    type: str
    arg: str
    many: bool
    read_only: bool


Struct = dict[str, Property]

ENUMS: dict[str, frozenset[str]] = {
    name: frozenset(values.split("|"))
    for name, values in {
        "EstimateStatus": "Accepted|Closed|Pending|Rejected|Converted",
        "GlobalTax": "TaxInclusive|TaxExcluded|NotApplicable",
        "Email": "NotSet|NeedToSend|EmailSent",
        "Print": "NotSet|NeedToPrint|PrintComplete",
        "Item": "Assembly|Category|Fixed Asset|Group|Inventory|NonInventory|Other Charge|Payment"
        "|Service|Subtotal|Discount|Tax|Tax Group|Bundle",
        "Account": "Bank|Accounts Receivable|Other Current Asset|Fixed Asset|Other Asset"
        "|Accounts Payable|Credit Card|Other Current Liability|Long Term Liability|Equity|Income"
        "|Cost of Goods Sold|Expense|Other Income|Other Expense|Non-Posting",
        "Classification": "Asset|Equity|Expense|Liability|Revenue",
        "Payment": "Cash|Check|CreditCard|Expense|Other",
        "Posting": "Credit|Debit",
        "Billable": "Billable|NotBillable|HasBeenBilled",
        "Gender": "Male|Female",
        "Delivery": "Print|Email|None",
        "Line": "PaymentLineDetail|DiscountLineDetail|TaxLineDetail|SalesItemLineDetail"
        "|DescriptionOnly|ItemBasedExpenseLineDetail|AccountBasedExpenseLineDetail"
        "|ReimburseLineDetail|DepositLineDetail|PurchaseOrderItemLineDetail|SalesOrderItemLineDetail"
        "|ItemReceiptLineDetail|JournalEntryLineDetail|GroupLineDetail|SubTotalLineDetail"
        "|SubtotalLineDetail|DescriptionLineDetail|TDSLineDetail|ItemAdjustmentLineDetail",
    }.items()
}

_BASE = (
    "Id SyncToken MetaData:any! CustomField:[custom] AttachableRef:any domain:any! sparse:bool "
    "status:any!"
)
_TRANSACTION = (
    _BASE + " DocNumber:text21 TxnDate:date TxnSubType:any DepartmentRef:ref>Department "
    "CurrencyRef:ref ExchangeRate:number PrivateNote:text4000 LinkedTxn:[link] Line:[line] "
    "TxnTaxDetail:tax TxnSource:text TaxFormType:any TaxFormNum:any TransactionLocationType:text "
    "Tag:any TxnApprovalInfo:any RecurDataRef:any! RecurringInfo:any ProjectRef:ref "
    "TotalCostAmount:any! HomeTotalCostAmount:any!"
)
_SALES = (
    _TRANSACTION + " AutoDocNumber:bool CustomerRef:ref>Customer CustomerMemo:memo "
    "BillAddr:address ShipAddr:address FreeFormAddress:bool ShipFromAddr:address RemitToRef:ref "
    "ClassRef:ref>Class SalesTermRef:ref>Term DueDate:date SalesRepRef:ref PONumber:text FOB:text "
    "ShipMethodRef:ref ShipDate:date TrackingNum:text GlobalTaxCalculation:enum>GlobalTax "
    "TotalAmt:any! HomeTotalAmt:any! ApplyTaxAfterDiscount:bool "
    "ShippingTaxIncludedInTotalTax:bool TemplateRef:ref PrintStatus:enum>Print "
    "EmailStatus:enum>Email BillEmail:mail BillEmailCc:mail BillEmailBcc:mail "
    "ARAccountRef:ref>Account Balance:any! HomeBalance:any! FinanceCharge:bool "
    "PaymentMethodRef:ref PaymentRefNum:text21 PaymentType:any CheckPayment:any "
    "CreditCardPayment:any DepositToAccountRef:ref>Account DeliveryInfo:any! DiscountRate:number "
    "DiscountAmt:number GovtTxnRefIdentifier:text TaxExemptionRef:ref"
)
_PARTY = (
    _BASE + " IntuitId:any Organization:bool Title:text16 GivenName:text100 MiddleName:text100 "
    "FamilyName:text100 Suffix:text16 FullyQualifiedName:any! CompanyName:text100 "
    "DisplayName:text500 PrintOnCheckName:text110 UserId:any Active:bool V4IDPseudonym:any! "
    "PrimaryPhone:phone AlternatePhone:phone Mobile:phone Fax:phone PrimaryEmailAddr:mail "
    "WebAddr:web OtherContactInfo:any DefaultTaxCodeRef:ref>TaxCode"
)

_SOURCE: dict[str, str] = {
    # Shared structs ---------------------------------------------------------------------------
    "ref": "value name type",
    "custom": "DefinitionId Name Type StringValue:text31 BooleanValue:bool DateValue:date "
    "NumberValue:number",
    "mail": "Id:any Address:email100 Default:bool Tag:any",
    "phone": "Id:any DeviceType:text CountryCode:text AreaCode:text ExchangeCode:text "
    "Extension:text FreeFormNumber:text30 Default:bool Tag:any",
    "web": "Id:any URI:text1000 Default:bool Tag:any",
    "memo": "value:text1000 id:any",
    "address": "Id:any Line1:text500 Line2:text500 Line3:text500 Line4:text500 Line5:text500 "
    "City:text255 Country:text255 CountryCode:text CountrySubDivisionCode:text255 "
    "PostalCode:text30 PostalCodeSuffix:text Lat:text Long:text Tag:any Note:text",
    "link": "TxnId TxnType TxnLineId",
    "tax": "DefaultTaxCodeRef:ref>TaxCode TxnTaxCodeRef:ref>TaxCode TotalTax:number "
    "TaxReviewStatus:any TaxLine:[line] UseAutomatedSalesTax:any!",
    "markup": "PercentBased:bool Value:number Percent:number PriceLevelRef:ref "
    "MarkUpIncomeAccountRef:ref>Account",
    "party": "Type EntityRef:ref",
    # Lines --------------------------------------------------------------------------------------
    "line": "Id LineNum:int Description:text4000 Amount:number Received:any LinkedTxn:[link] "
    "DetailType:enum>Line PaymentLineDetail:any DiscountLineDetail:discount_detail "
    "TaxLineDetail:tax_detail SalesItemLineDetail:sales_detail "
    "DescriptionLineDetail:description_detail DescriptionOnly:any "
    "ItemBasedExpenseLineDetail:item_expense_detail "
    "AccountBasedExpenseLineDetail:account_expense_detail ReimburseLineDetail:any "
    "DepositLineDetail:any PurchaseOrderItemLineDetail:any SalesOrderItemLineDetail:any "
    "ItemReceiptLineDetail:any JournalEntryLineDetail:journal_detail GroupLineDetail:group_detail "
    "SubTotalLineDetail:any SubtotalLineDetail:any TDSLineDetail:any ItemAdjustmentLineDetail:any "
    "CustomField:[custom] ProjectRef:ref CostAmount:number HomeCostAmount:number "
    "CustomExtensions:any LineEx:any",
    "sales_detail": "ItemRef:ref>Item ClassRef:ref>Class UnitPrice:number UnitCostPrice:number "
    "RatePercent:number PriceLevelRef:ref MarkupInfo:markup Qty:number UOMRef:any "
    "ItemAccountRef:ref>Account InventorySiteRef:ref TaxCodeRef:ref>TaxCode "
    "TaxClassificationRef:ref ServiceDate:date TaxInclusiveAmt:number DiscountRate:number "
    "DiscountAmt:number DeferredRevenue:bool RetainageAmount:number SalesItemLineDetailEx:any",
    "discount_detail": "Discount:any ServiceDate:date ClassRef:ref>Class TaxCodeRef:ref>TaxCode "
    "DiscountRef:ref PercentBased:bool DiscountPercent:number DiscountAccountRef:ref>Account",
    "tax_detail": "TaxRateRef:ref>TaxRate PercentBased:bool TaxPercent:number "
    "NetAmountTaxable:number TaxInclusiveAmount:number OverrideDeltaAmount:number ServiceDate:date",
    "description_detail": "ServiceDate:date TaxCodeRef:ref>TaxCode",
    "group_detail": "GroupItemRef:ref>Item Quantity:number UOMRef:any ServiceDate:date "
    "Line:[line] GroupLineDetailEx:any",
    "item_expense_detail": "ItemRef:ref>Item ClassRef:ref>Class UnitPrice:number "
    "RatePercent:number PriceLevelRef:ref MarkupInfo:markup Qty:number UOMRef:any "
    "ItemAccountRef:ref>Account InventorySiteRef:ref TaxCodeRef:ref>TaxCode "
    "CustomerRef:ref>Customer BillableStatus:enum>Billable TaxInclusiveAmt:number",
    "account_expense_detail": "CustomerRef:ref>Customer ClassRef:ref>Class "
    "AccountRef:ref>Account BillableStatus:enum>Billable MarkupInfo:markup TaxAmount:number "
    "TaxCodeRef:ref>TaxCode TaxInclusiveAmt:number",
    "journal_detail": "PostingType:enum>Posting Entity:party AccountRef:ref>Account "
    "ClassRef:ref>Class DepartmentRef:ref>Department TaxCodeRef:ref>TaxCode TaxRateRef:ref "
    "TaxApplicableOn:text TaxAmount:number TaxInclusiveAmt:number BillableStatus:enum>Billable "
    "JournalCodeRef:ref",
    # Transactions -------------------------------------------------------------------------------
    "Estimate": _SALES + " TxnStatus:enum>EstimateStatus ExpirationDate:date AcceptedBy:text "
    "AcceptedDate:date EstimateEx:any",
    "Invoice": _SALES + " TxnStatus:text Deposit:number AllowIPNPayment:bool "
    "AllowOnlinePayment:bool "
    "AllowOnlineCreditCardPayment:bool AllowOnlineACHPayment:bool AllowOnlinePayPalPayment:bool "
    "AllowOnlineAffirmPayment:bool EInvoiceStatus:any InvoiceLink:any! "
    "InvoiceLinkSecurityCode:any! InvoiceLinkExpiryDate:any! invoiceStatus:any! callToAction:any! "
    "invoiceStatusLog:any! InvoiceEx:any LessCIS:any! ECloudStatusTimeStamp:any! OverDue:any",
    "CreditMemo": _SALES + " TxnStatus:text RemainingCredit:any! InvoiceRef:ref CreditMemoEx:any",
    "Bill": _TRANSACTION + " TxnStatus:text VendorRef:ref>Vendor APAccountRef:ref>Account "
    "TotalAmt:any! BillEmail:mail ReplyEmail:mail Memo:text4000 "
    "GlobalTaxCalculation:enum>GlobalTax PayerRef:ref SalesTermRef:ref>Term DueDate:date "
    "RemitToAddr:address ShipAddr:address VendorAddr:address Balance:any! HomeBalance:any! "
    "BillEx:any",
    "Purchase": _TRANSACTION + " TxnStatus:text AccountRef:ref>Account PaymentMethodRef:ref "
    "PaymentRefNum:text21 PaymentType:enum>Payment EntityRef:ref Credit:bool "
    "RemitToAddr:address TotalAmt:any! Memo:text4000 PrintStatus:enum>Print "
    "GlobalTaxCalculation:enum>GlobalTax PurchaseEx:any CheckPayment:any CreditCardPayment:any",
    "JournalEntry": _TRANSACTION + " TxnStatus:text Adjustment:bool HomeCurrencyAdjustment:bool "
    "EnteredInHomeCurrency:bool GlobalTaxCalculation:enum>GlobalTax TotalAmt:any! "
    "HomeTotalAmt:any! JournalEntryEx:any",
    "Payment": _TRANSACTION + " TxnStatus:text CustomerRef:ref>Customer RemitToRef:ref "
    "ARAccountRef:ref>Account DepositToAccountRef:ref>Account PaymentMethodRef:ref "
    "PaymentRefNum:text21 PaymentType:any CheckPayment:any CreditCardPayment:any TotalAmt:number "
    "UnappliedAmt:any! ProcessPayment:bool ProcessBankPayment:bool TaxExemptionRef:ref "
    "PaymentEx:any",
    "SalesReceipt": _SALES + " TxnStatus:text SalesReceiptEx:any",
    "RefundReceipt": _SALES + " TxnStatus:text RemainingCredit:any! RefundReceiptEx:any",
    "PurchaseOrder": _TRANSACTION + " TxnStatus:text VendorRef:ref>Vendor "
    "APAccountRef:ref>Account TotalAmt:any! Memo:text4000 GlobalTaxCalculation:enum>GlobalTax "
    "TaxCodeRef:ref ClassRef:ref>Class ReimbursableInfoRef:any SalesTermRef:ref>Term DueDate:date "
    "ExpectedDate:date VendorAddr:address ShipAddr:address DropShipToEntity:any "
    "ShipMethodRef:ref FOB:text POEmail:mail TemplateRef:ref PrintStatus:enum>Print "
    "EmailStatus:enum>Email ManuallyClosed:bool POStatus:text PurchaseOrderEx:any Balance:any! "
    "HomeBalance:any! PayerRef:ref",
    "VendorCredit": _TRANSACTION + " TxnStatus:text VendorRef:ref>Vendor "
    "APAccountRef:ref>Account TotalAmt:any! Memo:text4000 GlobalTaxCalculation:enum>GlobalTax "
    "Balance:any! PayerRef:ref VendorCreditEx:any",
    "BillPayment": _TRANSACTION + " TxnStatus:text VendorRef:ref>Vendor "
    "APAccountRef:ref>Account PayType:text CheckPayment:any CreditCardPayment:any TotalAmt:number "
    "ProcessBillPayment:bool BillPaymentEx:any PaymentType:any",
    "Deposit": _TRANSACTION + " TxnStatus:text DepositToAccountRef:ref>Account "
    "GlobalTaxCalculation:enum>GlobalTax ClassRef:ref>Class CashBack:any TotalAmt:any! "
    "HomeTotalAmt:any! DepositEx:any",
    "Transfer": _TRANSACTION + " TxnStatus:text FromAccountRef:ref>Account "
    "ToAccountRef:ref>Account Amount:number ClassRef:ref>Class TransferEx:any",
    "TimeActivity": _TRANSACTION + " TimeZone:any NameOf:text EmployeeRef:ref>Employee "
    "VendorRef:ref>Vendor OtherNameRef:ref CustomerRef:ref>Customer ItemRef:ref>Item "
    "ClassRef:ref>Class PayrollItemRef:ref BillableStatus:enum>Billable Taxable:bool "
    "HourlyRate:number Hours:int Minutes:int Seconds:int BreakHours:int BreakMinutes:int "
    "BreakSeconds:int StartTime:time EndTime:time Description:text4000 CostRate:number "
    "UseTimeEntry:any TimeActivityEx:any TransactionLocationType:text TimeChargeId:any",
    "CreditCardPayment": _TRANSACTION + " BankAccountRef:ref>Account "
    "CreditCardAccountRef:ref>Account VendorRef:ref>Vendor Amount:number Memo:text4000 "
    "PrintStatus:enum>Print CheckNum:text21 CreditCardPaymentEx:any",
    "RecurringTransaction": _BASE + " Type:text",
    # Files and notes ------------------------------------------------------------------------------
    "Attachable": _BASE + " AttachableRef:[attached] FileName:text1000 Note:text2000 "
    "ContentType:text100 Category:text100 Lat:text100 Long:text100 PlaceName:text2000 "
    "Tag:text2000 Size:any! FileAccessUri:any! TempDownloadUri:any! ThumbnailFileAccessUri:any! "
    "ThumbnailTempDownloadUri:any! AttachableEx:any",
    "attached": "EntityRef:ref LineInfo:text IncludeOnSend:bool NoRefOnly:bool Inactive:bool "
    "CustomField:[custom] AttachableRefEx:any",
    # Names --------------------------------------------------------------------------------------
    "Customer": _PARTY + " Taxable:bool BillAddr:address ShipAddr:address OtherAddr:any "
    "ContactName:text AltContactName:text Notes:text2000 Job:bool BillWithParent:bool "
    "RootCustomerRef:any ParentRef:ref>Customer Level:any! CustomerTypeRef:ref "
    "SalesTermRef:ref>Term SalesRepRef:ref TaxGroupCodeRef:any TaxRateRef:any "
    "PaymentMethodRef:ref CCDetail:any PriceLevelRef:ref Balance:any! OpenBalanceDate:date "
    "BalanceWithJobs:any! CreditLimit:number AcctNum:text CurrencyRef:ref OverDueBalance:any! "
    "TotalRevenue:any! TotalExpense:any! PreferredDeliveryMethod:text ResaleNum:text16 JobInfo:any "
    "TDSEnabled:bool CustomerEx:any ARAccountRef:ref>Account TaxExemptionReasonId:text "
    "PrimaryTaxIdentifier:text SecondaryTaxIdentifier:text IsProject:bool GSTIN:text "
    "GSTRegistrationType:text BusinessNumber:text ClientEntityId:text Source:text TaxRegime:any "
    "ProjectStatus:any ProjectEstimatedCosts:any",
    "Vendor": _PARTY + " ContactName:text AltContactName:text Notes:text2000 BillAddr:address "
    "ShipAddr:address OtherAddr:any TaxCountry:text TaxIdentifier:text20 TaxIdEffectiveDate:date "
    "BusinessNumber:text ParentRef:ref>Vendor VendorTypeRef:ref TermRef:ref>Term "
    "PrefillAccountRef:ref Balance:any! BillRate:number OpenBalanceDate:date CreditLimit:number "
    "AcctNum:text100 Vendor1099:bool T4AEligible:bool T5018Eligible:bool CurrencyRef:ref "
    "TDSEnabled:bool TDSEntityTypeId:any TDSSectionTypeId:any TDSOverrideThreshold:any "
    "TaxReportingBasis:text APAccountRef:ref>Account VendorEx:any GSTIN:text "
    "GSTRegistrationType:text IsSubContractorCIS:any SubcontractorType:any CISRate:any "
    "HasTPAR:bool VendorPaymentBankDetail:any Source:text CostRate:number HasShownFormFields:any",
    "Employee": _PARTY + " EmployeeType:text EmployeeNumber:text100 SSN:text PrimaryAddr:address "
    "OtherAddr:any BillableTime:bool BillRate:number CostRate:number BirthDate:date "
    "Gender:enum>Gender HiredDate:date ReleasedDate:date UseTimeEntry:any EmployeeEx:any",
    # Lists --------------------------------------------------------------------------------------
    "Item": _BASE + " Name:text100 Sku:text100 Description:text4000 Active:bool SubItem:bool "
    "ParentRef:ref>Item Level:any! FullyQualifiedName:any! Taxable:bool SalesTaxIncluded:bool "
    "PercentBased:bool UnitPrice:number RatePercent:number Type:enum>Item "
    "PaymentMethodRef:ref UOMSetRef:any IncomeAccountRef:ref>Account PurchaseDesc:text1000 "
    "PurchaseTaxIncluded:bool PurchaseCost:number ExpenseAccountRef:ref>Account COGSAccountRef:any "
    "AssetAccountRef:ref>Account PrefVendorRef:ref>Vendor AvgCost:any! TrackQtyOnHand:bool "
    "QtyOnHand:number QtyOnPurchaseOrder:any! QtyOnSalesOrder:any! ReorderPoint:number "
    "ManPartNum:text DepositToAccountRef:any SalesTaxCodeRef:ref>TaxCode "
    "PurchaseTaxCodeRef:ref>TaxCode InvStartDate:date BuildPoint:any PrintGroupedItems:bool "
    "SpecialItem:any SpecialItemType:any ItemGroupDetail:any ItemAssemblyDetail:any "
    "AbatementRate:number ReverseChargeRate:number ServiceType:text ItemCategoryType:text "
    "Source:text ItemEx:any TaxClassificationRef:ref UQCDisplayText:any UQCId:any "
    "ClassRef:ref>Class DeferredRevenue:any",
    "Class": _BASE + " Name:text100 SubClass:bool ParentRef:ref>Class FullyQualifiedName:any! "
    "Active:bool ClassEx:any Source:text",
    "Department": _BASE + " Name:text100 SubDepartment:bool ParentRef:ref>Department "
    "FullyQualifiedName:any! Active:bool Address:address DepartmentEx:any",
    "Account": _BASE + " Name:text100 SubAccount:bool ParentRef:ref>Account Description:text100 "
    "FullyQualifiedName:any! AccountAlias:text TxnLocationType:text Active:bool "
    "Classification:enum>Classification! AccountType:enum>Account AccountSubType:text "
    "AccountPurposes:any AcctNum:text20 AcctNumExtn:text BankNum:text OpeningBalance:number "
    "OpeningBalanceDate:date CurrentBalance:any! CurrentBalanceWithSubAccounts:any! "
    "CurrencyRef:ref TaxAccount:bool TaxCodeRef:ref>TaxCode OnlineBankingEnabled:bool FIName:text "
    "JournalCodeRef:ref AccountEx:any",
    "PaymentMethod": _BASE + " Name:text31 Active:bool Type:text PaymentMethodEx:any",
    "CustomerType": _BASE + " Name:text100 Active:bool",
    "TaxAgency": _BASE + " DisplayName:text100 SalesTaxCodeRef:ref SalesTaxCountry:text "
    "SalesTaxReturnRef:ref TaxRegistrationNumber:text ReportingPeriod:any TaxAgencyExt:any "
    "TaxTrackedOnPurchases:bool TaxTrackedOnSales:bool TaxOnTaxesOnPurchases:any "
    "TaxOnTaxesOnSales:any LastFileDate:any TaxAgencyConfig:any",
    "ExchangeRate": _BASE + " SourceCurrencyCode:text3 TargetCurrencyCode:text3 Rate:number "
    "AsOfDate:date",
    "CompanyCurrency": _BASE + " Name:text100 Code:text3 Active:bool CurrencyEx:any",
    "Term": _BASE + " Name:text31 Active:bool Type:any! DiscountPercent:number DueDays:int "
    "DiscountDays:int DayOfMonthDue:int DueNextMonthDays:int DiscountDayOfMonth:int "
    "SalesTermEx:any",
    "JournalCode": _BASE + " Name:text20 Type:text Description:text100 Active:bool",
    "Budget": _BASE + " Name:text100 StartDate:date EndDate:date BudgetType:text "
    "BudgetEntryType:text Active:bool BudgetDetail:any",
    "TaxCode": _BASE + " Name:text100 Description:text100 Active:bool Hidden:bool Taxable:bool "
    "TaxGroup:bool SalesTaxRateList:any PurchaseTaxRateList:any AdjustmentTaxRateList:any "
    "TaxCodeEx:any TaxCodeConfigType:any",
    "TaxRate": _BASE + " Name:text100 Description:text100 Active:bool RateValue:number "
    "AgencyRef:ref TaxReturnLineRef:ref EffectiveTaxRate:any SpecialTaxType:text "
    "DisplayType:text TaxRateEx:any OriginalTaxRate:any",
    # Singletons ---------------------------------------------------------------------------------
    "CompanyInfo": _BASE + " CompanyName:text1024 LegalName:text1024 CompanyAddr:address "
    "CustomerCommunicationAddr:address LegalAddr:address CompanyEmailAddr:mail "
    "CustomerCommunicationEmailAddr:mail CompanyURL:web PrimaryPhone:phone OtherPhoneNumber:any "
    "CompanyFileName:any FlavorStratum:any SampleFile:any CompanyUserId:any "
    "CompanyUserAdminEmail:any CompanyStartDate:date EmployerId:text FiscalYearStartMonth:text "
    "TaxYearStartMonth:text QBVersion:any Country:text IsQBW:any ShipAddr:any OtherAddr:any "
    "Email:mail WebAddr:web Mobile:phone LastImportedTime:any LastSyncTime:any "
    "SupportedLanguages:text DefaultTimeZone:text MultiByteCharsSupported:any "
    "NameValue:[name_value] FaxNumber:any CompanyInfoEx:any PrimaryPhoneNumber:any",
    "name_value": "Name Value",
    "Preferences": _BASE + " EmailMessagesPrefs:any ProductAndServicesPrefs:any ReportPrefs:any "
    "AccountingInfoPrefs:any SalesFormsPrefs:any VendorAndPurchasesPrefs:any TaxPrefs:any "
    "OtherPrefs:any TimeTrackingPrefs:any CurrencyPrefs:any AdvancedInventoryPrefs:any "
    "CompanyAccountingPrefs:any FinanceChargesPrefs:any EntitlementsPrefs:any",
}

_WORD = re.compile(r"(\w+)(?::(\[?)([a-zA-Z_]+?)(\d*)(?:>(\w+))?\]?)?(!?)$")


def _property(word: str) -> Property:
    match = _WORD.match(word)
    if match is None:
        raise ValueError(word)
    name, many, kind, bound, target, mark = match.groups()
    return Property(name, kind or "text", target or bound or "", bool(many), bool(mark))


STRUCTS: dict[str, Struct] = {
    name: {item.name: item for item in map(_property, source.split())}
    for name, source in _SOURCE.items()
}
STRUCTS["CreditCardPaymentTxn"] = STRUCTS["CreditCardPayment"]  # as bodies and answers call it


def is_scalar(kind: str) -> bool:
    """Whether values of ``kind`` are single values rather than structs."""
    return kind in _SCALARS
